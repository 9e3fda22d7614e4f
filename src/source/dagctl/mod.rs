//! The dagctl REST API, read only.
