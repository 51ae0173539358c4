package cmek

import "strings"

// ExpandNames reads a list of names, separated by commas, in which {a,b} stands for each of the words between the braces, as in a
// shell: "x-{a,b-{c,d}},y" is x-a, x-b-c, x-b-d and y. Blanks around a name do not count.
func ExpandNames(list string) (names []string) {
	for _, part := range splitNames(list) {
		begin := strings.IndexByte(part, '{')
		if begin < 0 {
			if name := strings.TrimSpace(part); name != "" {
				names = append(names, name)
			}
			continue
		}
		end := closing(part, begin)
		for _, word := range splitNames(part[begin+1 : end]) {
			names = append(names, ExpandNames(part[:begin]+word+part[min(end+1, len(part)):])...)
		}
	}
	return names
}

// splitNames splits at the commas that stand between no braces.
func splitNames(list string) (parts []string) {
	depth, begin := 0, 0
	for i := range len(list) {
		switch list[i] {
		case '{':
			depth++
		case '}':
			depth--
		case ',':
			if depth == 0 {
				parts, begin = append(parts, list[begin:i]), i+1
			}
		}
	}
	return append(parts, list[begin:])
}

// closing is the index of the brace that closes the one at begin, or the length of s.
func closing(s string, begin int) int {
	depth := 0
	for i := begin; i < len(s); i++ {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s)
}
