//! Tables: sorted, immutable files.
