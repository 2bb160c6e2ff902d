//! Folders of rule files to a checked set: every bad file is reported, and the rest loads.

pub mod drops;
