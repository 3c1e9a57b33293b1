// SPDX-License-Identifier: BSD-3-Clause
//
// The model: a few keys, each a string, a list or a set, as a value that can be compared, and what
// each command does to it. A unit is what must happen in one instant: a plain command, a
// transaction, a script, a blocking command. A history is the units of several connections, each
// with the time it was sent, the time its reply was read, and what the reply said; porcupine looks
// for an order of all of them in which every reply is what the model answers, and in which no unit
// comes before one that had ended before it began. Two more things must hold, and are part of the
// state so that the search needs not know of them:
//
//   - the units of one connection keep their order, pipelined or not: seq counts what each has done;
//   - EXEC fails exactly if a watched key was touched since WATCH: watched and dirty, as the server does it.
//
// A unit whose reply never came may have happened at any later time, or never: it returns at the end of
// time, where nobody can tell any more.

package main

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const (
	maxKeys    = 8
	maxClients = 16
	never      = math.MaxInt64

	describeLimit = 500 * time.Millisecond // for each of the few histories that a search by halves tries
)

type manner uint8

const (
	plain manner = iota
	multi
	discarded // MULTI ... DISCARD
	aborted   // MULTI ... a command that does not exist ... EXEC
	declared  // a script, every key in KEYS
	undeclared
	mixed    // a script, the first key in KEYS
	function // FCALL of a function that runs the commands it is given
	blocking
	watch
	unwatch
	expiry // nobody's: the end of a SETPX
)

var manners = []string{"", "MULTI", "MULTI..DISCARD", "MULTI..EXECABORT", "EVAL declared",
	"EVAL undeclared", "EVAL mixed", "FCALL", "", "", "", ""}

// command is one command; keys are numbers.
type command struct {
	name string
	keys []int
	args []string
}

// unit is the input of one step; it is never changed once sent.
type unit struct {
	client   int
	seq      uint16
	how      manner
	commands []command
	isStrict bool // a blocking pop takes the first of its keys that has anything
	byHash   bool // a script that another connection loads, and this one runs by EVALSHA
}

// outcome is its output.
type outcome struct {
	isUnknown bool
	isFailed  bool // EXEC answered null
	replies   []string
}

// state is a value: porcupine compares it with ==.
type state struct {
	value   [maxKeys]string // "" is no key; lists and sets (sorted) are joined with commas
	seq     [maxClients]uint16
	watched [maxClients]uint16 // a bit for each key
	dirty   uint16             // a bit for each client
}

func split(value string) []string {
	if value == "" {
		return nil
	}
	return strings.Split(value, ",")
}

func (s *state) touch(key int) {
	for client := range s.watched {
		if s.watched[client]&(1<<uint(key)) != 0 {
			s.dirty |= 1 << uint(client)
		}
	}
}

func (s *state) put(key int, value string) {
	s.value[key] = value
	s.touch(key)
}

func (s *state) forget(client int) {
	s.watched[client] = 0
	s.dirty &^= 1 << uint(client)
}

// step says whether the unit may come next with this outcome, and what follows.
func step(before, input, output interface{}) (bool, interface{}) {
	s := before.(state)
	u := input.(*unit)
	out := output.(*outcome)
	if u.how == expiry {
		if c := u.commands[0]; s.value[c.keys[0]] == c.args[0] {
			s.put(c.keys[0], "")
		}
		return true, s
	}
	if s.seq[u.client]+1 != u.seq {
		return false, before
	}
	s.seq[u.client]++
	switch u.how {
	case watch:
		for _, key := range u.commands[0].keys {
			s.watched[u.client] |= 1 << uint(key)
		}
		return true, s
	case unwatch, discarded, aborted:
		s.forget(u.client)
		return true, s
	case multi:
		isFailed := s.dirty&(1<<uint(u.client)) != 0
		s.forget(u.client)
		if !out.isUnknown && out.isFailed != isFailed {
			return false, before
		}
		if isFailed {
			return true, s
		}
	case blocking:
		return stepBlocking(s, u, out)
	}
	for i, c := range u.commands {
		said := s.apply(c)
		if !out.isUnknown && said != out.replies[i] {
			return false, before
		}
	}
	return true, s
}

// stepBlocking: a null means that all keys were empty once; else the key served need not be the first
// that has anything now, because one unit may have filled several.
func stepBlocking(s state, u *unit, out *outcome) (bool, interface{}) {
	c := u.commands[0]
	if out.isUnknown || u.isStrict || len(c.keys) == 1 || c.name == "BLMOVE" ||
		out.replies[0] == "nil" {
		said := s.apply(c)
		return out.isUnknown || said == out.replies[0], s
	}
	for _, key := range c.keys {
		alone, one := s, c
		one.keys = []int{key}
		if alone.apply(one) == out.replies[0] {
			return true, alone
		}
	}
	return false, s
}

// apply changes the state as the command does and returns its reply.
func (s *state) apply(c command) string {
	switch {
	case strings.Contains(" SMEMBERS SUNION SINTER SADD SREM SCARD SMOVE SINTERSTORE SUNIONSTORE ",
		" "+c.name+" "):
		return s.applySet(c)
	case strings.Contains(" LPUSH RPUSH LPUSHX LPOP RPOP LRANGE LLEN LMOVE BLMOVE BLPOP BRPOP BLMPOP "+
		"LMPOP RPOPLPUSH ", " "+c.name+" "):
		return s.applyList(c)
	}
	return s.applyString(c)
}

func integer(n int) string {
	return ":" + strconv.Itoa(n)
}

func (s *state) bulk(key int) string {
	if s.value[key] == "" {
		return "nil"
	}
	return "$" + s.value[key]
}

func (s *state) applyString(c command) string {
	key := 0
	if len(c.keys) != 0 {
		key = c.keys[0]
	}
	old := s.value[key]
	switch c.name {
	case "GET":
		return s.bulk(key)
	case "SET", "SETPX":
		s.put(key, c.args[0])
		return "+OK"
	case "SETNX":
		if old != "" {
			return ":0"
		}
		s.put(key, c.args[0])
		return ":1"
	case "GETSET":
		said := s.bulk(key)
		s.put(key, c.args[0])
		return said
	case "GETDEL":
		said := s.bulk(key)
		if old != "" {
			s.put(key, "")
		}
		return said
	case "APPEND":
		s.put(key, old+c.args[0])
		return integer(len(s.value[key]))
	case "INCRBY":
		return s.increase(key, c.args[0])
	case "RENAME", "RENAMENX", "COPY":
		return s.move(c)
	}
	return s.applyMany(c)
}

func (s *state) increase(key int, by string) string {
	old := s.value[key]
	if old == "" {
		old = "0"
	}
	number, err := strconv.ParseInt(old, 10, 64)
	step, _ := strconv.ParseInt(by, 10, 64)
	if err != nil || strconv.FormatInt(number, 10) != old || number > math.MaxInt64-step {
		return "-ERR"
	}
	s.put(key, strconv.FormatInt(number+step, 10))
	return ":" + s.value[key]
}

func (s *state) move(c command) string {
	from, to := c.keys[0], c.keys[1]
	good, bad := "+OK", "-ERR"
	if c.name != "RENAME" {
		good, bad = ":1", ":0"
	}
	switch {
	case s.value[from] == "" && c.name == "COPY":
		return ":0"
	case s.value[from] == "":
		return "-ERR"
	case c.name != "RENAME" && len(c.args) == 0 && s.value[to] != "":
		return bad
	}
	if from == to { // only RENAME gets here: COPY is never asked to
		return good
	}
	s.put(to, s.value[from])
	if c.name != "COPY" {
		s.put(from, "")
	}
	return good
}

func (s *state) applyMany(c command) string {
	count := 0
	switch c.name {
	case "MGET":
		words := make([]string, len(c.keys))
		for i, key := range c.keys {
			words[i] = s.bulk(key)
		}
		return "[" + strings.Join(words, " ") + "]"
	case "MSET", "MSETNX":
		for _, key := range c.keys {
			if c.name == "MSETNX" && s.value[key] != "" {
				return ":0"
			}
		}
		for i, key := range c.keys {
			s.put(key, c.args[i])
		}
		if c.name == "MSETNX" {
			return ":1"
		}
		return "+OK"
	case "DEL", "UNLINK", "PEXPIREAT":
		for _, key := range c.keys {
			if s.value[key] != "" {
				s.put(key, "")
				count++
			}
		}
		return integer(count)
	case "EXISTS", "TOUCH":
		for _, key := range c.keys {
			if s.value[key] != "" {
				count++
			}
		}
		return integer(count)
	case "FLUSHDB":
		for key := range s.value {
			if s.value[key] != "" {
				s.put(key, "")
			}
		}
		return "+OK"
	}
	panic("the model does not know " + c.name)
}

func (s *state) pop(key int, isLeft bool) string {
	all := split(s.value[key])
	at := 0
	if !isLeft {
		at = len(all) - 1
	}
	element := all[at]
	s.put(key, strings.Join(append(all[:at:at], all[at+1:]...), ","))
	return element
}

func (s *state) push(key int, element string, isLeft bool) {
	switch {
	case s.value[key] == "":
		s.put(key, element)
	case isLeft:
		s.put(key, element+","+s.value[key])
	default:
		s.put(key, s.value[key]+","+element)
	}
}

func bulks(elements []string) string {
	words := make([]string, len(elements))
	for i, element := range elements {
		words[i] = "$" + element
	}
	return "[" + strings.Join(words, " ") + "]"
}

func (s *state) applyList(c command) string {
	key := c.keys[0]
	switch c.name {
	case "LPUSH", "RPUSH", "LPUSHX":
		if c.name == "LPUSHX" && s.value[key] == "" {
			return ":0"
		}
		for _, element := range c.args {
			s.push(key, element, c.name[0] == 'L')
		}
		return integer(len(split(s.value[key])))
	case "LPOP", "RPOP":
		if s.value[key] == "" {
			return "nil"
		}
		return "$" + s.pop(key, c.name[0] == 'L')
	case "LRANGE":
		return bulks(split(s.value[key]))
	case "LLEN":
		return integer(len(split(s.value[key])))
	case "RPOPLPUSH":
		return s.shift(key, c.keys[1], false, true)
	case "LMOVE", "BLMOVE":
		return s.shift(key, c.keys[1], c.args[0] == "LEFT", c.args[1] == "LEFT")
	}
	return s.popFirst(c)
}

func (s *state) shift(from, to int, isFromLeft, isToLeft bool) string {
	if s.value[from] == "" {
		return "nil"
	}
	element := s.pop(from, isFromLeft)
	s.push(to, element, isToLeft)
	return "$" + element
}

// popFirst: BLPOP, BRPOP, LMPOP, BLMPOP of the first key that has anything.
func (s *state) popFirst(c command) string {
	for _, key := range c.keys {
		if s.value[key] == "" {
			continue
		}
		name := keyPrefix + strconv.Itoa(key)
		if c.name == "BLPOP" || c.name == "BRPOP" {
			return bulks([]string{name, s.pop(key, c.name == "BLPOP")})
		}
		var elements []string
		for count, _ := strconv.Atoi(c.args[1]); count > 0 && s.value[key] != ""; count-- {
			elements = append(elements, s.pop(key, c.args[0] == "LEFT"))
		}
		return "[$" + name + " " + bulks(elements) + "]"
	}
	return "nil"
}

func setOf(value string) map[string]bool {
	set := map[string]bool{}
	for _, member := range split(value) {
		set[member] = true
	}
	return set
}

func sorted(set map[string]bool) []string {
	members := make([]string, 0, len(set))
	for member := range set {
		members = append(members, member)
	}
	sort.Strings(members)
	return members
}

func (s *state) applySet(c command) string {
	key := c.keys[0]
	set := setOf(s.value[key])
	before := len(set)
	switch c.name {
	case "SCARD":
		return integer(before)
	case "SADD", "SREM":
		for _, member := range c.args {
			if c.name == "SADD" {
				set[member] = true
			} else {
				delete(set, member)
			}
		}
		if len(set) == before {
			return ":0"
		}
		s.put(key, strings.Join(sorted(set), ","))
		if len(set) < before {
			return integer(before - len(set))
		}
		return integer(len(set) - before)
	case "SMOVE":
		return s.moveMember(key, c.keys[1], c.args[0])
	case "SMEMBERS", "SUNION", "SINTER":
		return bulks(s.combine(c.name != "SINTER", c.keys))
	}
	result := s.combine(c.name == "SUNIONSTORE", c.keys[1:])
	if len(result) != 0 || before != 0 {
		s.put(key, strings.Join(result, ","))
	}
	return integer(len(result))
}

func (s *state) moveMember(from, to int, member string) string {
	source, target := setOf(s.value[from]), setOf(s.value[to])
	if !source[member] {
		return ":0"
	}
	if from == to {
		return ":1"
	}
	delete(source, member)
	s.put(from, strings.Join(sorted(source), ","))
	if !target[member] {
		target[member] = true
		s.put(to, strings.Join(sorted(target), ","))
	}
	return ":1"
}

func (s *state) combine(isUnion bool, keys []int) []string {
	counts := map[string]int{}
	for _, key := range keys {
		for _, member := range split(s.value[key]) {
			counts[member]++
		}
	}
	result := map[string]bool{}
	for member, count := range counts {
		if isUnion || count == len(keys) {
			result[member] = true
		}
	}
	return sorted(result)
}

// ---- the check

var model = porcupine.Model{
	Init: func() interface{} { return state{} },
	Step: step,
	// The bit set of what is done tells nearly all states apart; equality is the struct's own.
	Equal: func(a, b interface{}) bool { return a.(state) == b.(state) },
}

// checkHistory returns porcupine.Ok, Illegal or Unknown (not decided in time).
func checkHistory(history []porcupine.Operation, limit time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, history, limit)
}

// until is the history as it stood at that time: what had not ended has an unknown outcome.
func until(history []porcupine.Operation, end int64) []porcupine.Operation {
	var cut []porcupine.Operation
	for _, op := range history {
		if op.Call > end {
			continue
		}
		if op.Return > end {
			op.Return, op.Output = never, &outcome{isUnknown: true}
		}
		cut = append(cut, op)
	}
	return cut
}

// describe prints the shortest beginning of a history that is not linearizable.
func describe(history []porcupine.Operation) string {
	sort.Slice(history, func(i, j int) bool { return history[i].Call < history[j].Call })
	var ends []int64
	for _, op := range history {
		if op.Return != never {
			ends = append(ends, op.Return)
		}
	}
	sort.Slice(ends, func(i, j int) bool { return ends[i] < ends[j] })
	first := sort.Search(len(ends), func(i int) bool {
		return checkHistory(until(history, ends[i]), describeLimit) == porcupine.Illegal
	})
	if first < len(ends) {
		history = until(history, ends[first])
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d units; the last that returned fits nowhere:\n", len(history))
	for _, op := range history {
		fmt.Fprintf(&text, "  %s\n", describeOperation(op))
	}
	return text.String()
}

func describeOperation(op porcupine.Operation) string {
	u, out := op.Input.(*unit), op.Output.(*outcome)
	end := "        ?"
	if op.Return != never {
		end = fmt.Sprintf("%9.3f", float64(op.Return)/1e6)
	}
	var what []string
	for i, c := range u.commands {
		said := "?"
		if i < len(out.replies) {
			said = out.replies[i]
		}
		what = append(what, strings.Join(c.words(func(key int) string {
			return keyPrefix + strconv.Itoa(key)
		}), " ")+" -> "+said)
	}
	if out.isFailed {
		what = append(what, "EXEC -> nil")
	}
	return fmt.Sprintf("%9.3f..%s ms client %2d #%-2d %s %s", float64(op.Call)/1e6, end, u.client,
		u.seq, manners[u.how], strings.Join(what, "; "))
}
