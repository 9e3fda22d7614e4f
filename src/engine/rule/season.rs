//! Seasons.
