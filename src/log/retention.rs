//! Which records, runs and objects have outlived their time or size.
