package account

// Timed is timedStoreOf, for tests.
var Timed = timedStoreOf

// DisplayName is displayName, for tests.
var DisplayName = displayName
