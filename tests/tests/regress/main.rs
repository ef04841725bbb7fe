//! The faults that session pools have had, a test each: `docs/REGRESSIONS.md`
//! is the table that they are the rows of.

mod gateway;
mod pool;
mod scenarios;
mod table;
