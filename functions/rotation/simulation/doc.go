// Package simulation runs the rotation function through days of trouble in virtual time, over the simulated vendors: its tests
// are the proof that every rotation is followed exactly once. "make soak" runs many more of them.
package simulation
