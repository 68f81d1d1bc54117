"""Submits, follows and plots jobs of the anytime training service.

    from anytime_client import Client

    client = Client()                       # the learner of ANYTIME_LEARNER, or http://127.0.0.1:7100
    job = client.submit("job.toml")
    job = client.wait(job, print)
    client.plot(job)

`anytime_client.v1` has all messages of proto/anytime/v1.
"""

from . import v1
from .client import Client
from .errors import AnytimeError, ErrorInfo, Violation
from .report import Point, Report
from .settings import JobLike, job_spec, settings_of, to_spec
from .view import Event, Job, JobList, as_dict

__all__ = [
    "AnytimeError",
    "Client",
    "ErrorInfo",
    "Event",
    "Job",
    "JobLike",
    "JobList",
    "Point",
    "Report",
    "Violation",
    "as_dict",
    "job_spec",
    "settings_of",
    "to_spec",
    "v1",
]
