package storetest

// SessionStoreRounds is TestSessionStore with the number of rounds of its races.
var SessionStoreRounds = testSessionStore
