"""The HTTP side: parses what comes in, asks the rooms below, and renders what they say.

It promises that whatever a client sends ends in an answer or in a problem document (RFC 9457), never in a 500; that nothing secret reaches
a log, a metric or an error; and that the OpenAPI document describes exactly the routes that exist. It decides nothing about money.
"""

from timmy.web.application import create_app
from timmy.web.house import Condition, DevDesk, Health, Part, Profile, WebHouse, WebMetrics, WebSettings
from timmy.web.server import Server, server

__all__ = ["Condition", "DevDesk", "Health", "Part", "Profile", "Server", "WebHouse", "WebMetrics", "WebSettings", "create_app", "server"]
