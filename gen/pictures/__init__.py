"""Pictures of what a model can do. Each kind of picture needs a capability of the model."""

from gen.pictures.kinds import KINDS, Kind, Scene, choose_kinds, grids, paint

__all__ = ["KINDS", "Kind", "Scene", "choose_kinds", "grids", "paint"]
