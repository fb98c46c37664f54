"""Property tests here have no deadline, because machines differ in speed."""

from hypothesis import settings

settings.register_profile("config", deadline=None)
settings.load_profile("config")
