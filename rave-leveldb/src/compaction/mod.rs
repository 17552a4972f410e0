//! Merging tables so that there are few to look into, and dropping what nothing can see any more.
