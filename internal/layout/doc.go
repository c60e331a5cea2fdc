// Package layout holds no code: its tests are the rules of the tree. They say which package may
// import which, what may be exported, how large things may grow, and how the modules hang
// together. A rule that stands in the way is argued about in docs/design.md, not edited to make a
// build pass.
package layout
