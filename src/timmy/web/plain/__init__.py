"""The plain page: all that can be bought here, by forms and links, for browsers without JavaScript (`/api/ui`).

It asks the same desks as the JSON routes, checks what was typed with the same functions, and shows in words what they answer. There are no
cookies: a job is opened by its address, and a session's key travels in a hidden field of the forms that spend from it, so that no page of
another site can send one (H08), two sessions in two tabs do not mix, and a browser that refuses cookies loses nothing.
"""

from timmy.web.plain.routes import routes

__all__ = ["routes"]
