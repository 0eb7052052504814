//! What the metadata promises, tried out.

mod codec;
mod controller;
mod model;
mod state;
