//! What is done to a database as a whole while it is closed: repair, verify, destroy.
