"""The lock under which the endpoint runs moto, whose state is not made for concurrent requests."""

import threading

STATE = threading.Condition()
"""Held while moto runs; notified after each request, so that a long poll looks again."""
