// Package hostile has tests and no code: repositories that somebody made on purpose, with the right key, to harm who restores from them (attacker
// D of docs/threat-model.md). Each must end in a clear error or in a restore that stays inside of its target, without more memory than
// a restore of a good repository may take.
package hostile
