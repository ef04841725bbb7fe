//! The upstream that follows a script: each fault as a client sees it, byte by
//! byte, and what is on record of it.

mod answers;
mod doors;
mod raw;
mod recorded;
