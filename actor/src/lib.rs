//! The rollout process.
