// Package lint holds the repository to rules that neither the compiler nor staticcheck knows: which
// way imports point, that documents name files and flags that exist and that their links lead
// somewhere, that the README names every folder, that text and comments are wrapped, that what is
// exported is documented, and that nothing of a developer's machine is committed. It is all tests;
// each check is also tried on a small tree with the fault planted in it.
package lint
