package deployment

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong in keyturn.yaml.
type Problem struct {
	// Line is where it is, counted from 1; 0 if the problem is about the whole file.
	Line int `json:"line,omitempty"`
	// Field is the path of what is wrong: accounts[0].keys[1]. "" for the whole file.
	Field string `json:"field,omitempty"`
	// Message names the field, the value, and what to write instead.
	Message string `json:"message"`
}

// Problems are all that is wrong in keyturn.yaml, in the order of the lines.
type Problems []Problem

// Error has a line for each problem.
func (p Problems) Error() string {
	var lines []string
	for _, problem := range p {
		if problem.Line > 0 {
			lines = append(lines, fmt.Sprintf("line %d: %s", problem.Line, problem.Message))
		} else {
			lines = append(lines, problem.Message)
		}
	}
	return strings.Join(lines, "\n")
}

// sorted orders the problems by line and leaves out what follows from a value that could not be read.
func (p Problems) sorted(unread []string) Problems {
	p = slices.DeleteFunc(p, func(problem Problem) bool {
		return slices.ContainsFunc(unread, func(field string) bool {
			return within(field, problem.Field) || within(problem.Field, field)
		})
	})
	slices.SortStableFunc(p, func(a, b Problem) int { return a.Line - b.Line })
	return p
}

// within reports whether the path is the field, or of something in it. Everything is in the file, "".
func within(path, field string) bool {
	rest, ok := strings.CutPrefix(path, field)
	return ok && (field == "" || rest == "" || rest[0] == '.' || rest[0] == '[')
}

// parent is the path of what holds the field; "" for the file.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }
