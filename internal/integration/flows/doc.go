// Package flows tests the flows of all features with stores and mailers that
// fail. Each call of each flow fails in each way of package storetest/faults.
//
// To test another flow, add it to the table. The checks are the same for all of
// them.
package flows
