//! What the metadata promises, tried out.

mod codec;

mod state;
