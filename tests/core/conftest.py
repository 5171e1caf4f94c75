"""A profile for whoever only wants to know whether a property fails, and soon."""

from __future__ import annotations

from hypothesis import Phase, settings

settings.register_profile("no_shrinking", phases=(Phase.explicit, Phase.generate))
