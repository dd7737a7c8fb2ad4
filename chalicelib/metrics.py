"""What CloudWatch counts of the app, in lines of its embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from dataclasses import dataclass

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "ImageLabeller"


@dataclass(frozen=True)
class Metrics:
    """Metrics have the stage and mostly one other dimension: alarms and the dashboard name exactly these."""

    stage: str

    def image(self, outcome: str) -> None:
        """One attempt at an image has ended."""
        line = self._line(outcome=outcome)
        line.add_metric("Images", MetricUnit.Count, 1)
        line.flush_metrics()

    def access_lost(self) -> None:
        """A function lacked a permission or a resource, whatever it was at."""
        line = self._line()
        line.add_metric("AccessLost", MetricUnit.Count, 1)
        line.flush_metrics()

    def detector_call(self, detector: str, milliseconds: int) -> None:
        """A billed detector has answered: AWS bills what it analysed, not what it refused or failed at."""
        line = self._line(detector=detector)
        line.add_metric("DetectorCalls", MetricUnit.Count, 1)
        line.add_metric("DetectorMilliseconds", MetricUnit.Milliseconds, milliseconds)
        line.flush_metrics()

    def reuse_hit(self, detector: str) -> None:
        """A billed detector need not be asked, since it is known what it saw in the same bytes."""
        line = self._line(detector=detector)
        line.add_metric("ReuseHits", MetricUnit.Count, 1)
        line.flush_metrics()

    def callback(self, outcome: str) -> None:
        """A message about a callback has been dealt with."""
        line = self._line(outcome=outcome)
        line.add_metric("Callbacks", MetricUnit.Count, 1)
        line.flush_metrics()

    def _line(self, **dimension: str) -> EphemeralMetrics:
        # One each, since Powertools' Metrics share one state between threads; and with service=None,
        # POWERTOOLS_SERVICE_NAME in the environment would become a dimension.
        line = EphemeralMetrics(namespace=NAMESPACE, service="")
        for name, value in {"stage": self.stage, **dimension}.items():
            line.add_dimension(name, value)
        return line
