"""The one logger: one JSON line per event, with the image and the outcome."""

from aws_lambda_powertools import Logger

logger = Logger(service="image-labeller", level="INFO")  # app.py sets the level that Settings has checked
