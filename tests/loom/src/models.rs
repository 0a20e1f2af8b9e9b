//! The models, by the file whose protocol they model.

mod lock;
