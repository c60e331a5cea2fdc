// Package layout has no code. Its tests are the rules of the tree: permitted
// imports and exports, sizes, the relation of the modules, and the language of
// comments and pages. To change a rule, argue for it in docs/design.md. Do not
// edit a rule to make a build pass.
package layout
