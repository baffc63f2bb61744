"""The operator's desk: `/admin` for people, `/api/admin/*` for programs. Where no ADMIN_TOKEN is set, neither exists.

It shows money, states and names; what customers asked and were answered, and any secret, it cannot show, because it is not told.
"""
