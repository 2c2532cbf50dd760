"""What the fault tests share with the jobs tests."""

from tests.jobs.conftest import open_studio as open_studio
