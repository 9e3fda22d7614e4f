//! A dagctl API simulator.
