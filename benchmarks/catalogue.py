"""Every measurement, in the order of the table."""

from benchmarks.groups import (
    controller,
    delivery,
    deploy,
    growth,
    ingest,
    readers,
    reading,
    soak,
    usage,
    what_if,
)
from benchmarks.measurement import Measurement
from benchmarks.row import Row

MEASUREMENTS: tuple[Measurement, ...] = (
    *ingest.MEASUREMENTS,
    *delivery.MEASUREMENTS,
    *reading.MEASUREMENTS,  # before growth, which adds rows to the million that both measure
    *growth.MEASUREMENTS,
    *readers.MEASUREMENTS,
    *what_if.MEASUREMENTS,
    *usage.MEASUREMENTS,
    *controller.MEASUREMENTS,
    *deploy.MEASUREMENTS,
    *soak.MEASUREMENTS,
)
ROWS: tuple[Row, ...] = tuple(row for measurement in MEASUREMENTS for row in measurement.rows)
