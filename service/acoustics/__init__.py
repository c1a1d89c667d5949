"""Room acoustics: formulas, geometry, and the scene that every engine's format is made of. No HTTP, no model."""
