//! What the targets share: cutting the input up, and running a flow on it.

pub mod document;
pub mod flow_run;
pub mod input;
pub mod script;
