//! Objects that nothing refers to.
