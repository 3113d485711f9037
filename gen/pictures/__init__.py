"""What a person sees of a model: one picture a kind, one kind a capability."""

from gen.pictures.kinds import KINDS, Kind, Scene, choose_kinds, grids, paint

__all__ = ["KINDS", "Kind", "Scene", "choose_kinds", "grids", "paint"]
