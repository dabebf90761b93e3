package main

import "slices"

// mutants is the table. A line in it names a test of the test command; a bug that no test finds is
// a reason to write one.
var mutants = slices.Concat(logMutants, guardMutants, foldMutants, ruleMutants, consumerMutants, clusterMutants, placementMutants, singletonMutants, edgeMutants)
