//! The language model that actor and learner share.
