"""Property tests here judge answers, not the speed of the machine that finds them."""

from hypothesis import settings

settings.register_profile("config", deadline=None)
settings.load_profile("config")
