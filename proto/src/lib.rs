//! The wire of Orch: the orch.v1 package and its conversions to and from the core's types.
