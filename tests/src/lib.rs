//! End-to-end tests of Wharf over loopback
