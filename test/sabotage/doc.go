// Package sabotage proves that the tests of the vault engine notice what they are for: it plants one bug after the other, each
// a mistake that somebody could make, and demands that a test fails.
//
// Nothing in the tree is changed: the compiler is handed the edited files in the place of the real ones (go test -overlay).
// It holds tests only. Start with the table of bugs in bugs_test.go.
package sabotage
