package alert

import "strings"

// ShellWord makes a value from outside safe to paste into a shell as one word: whoever chose the value may have chosen it for that. Zsh
// expands a word that begins with "=".
func ShellWord(value string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:@+=,", r)
	}
	if value != "" && value[0] != '=' && strings.IndexFunc(value, func(r rune) bool { return !plain(r) }) < 0 {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}
