// SPDX-License-Identifier: BSD-3-Clause
//
// Keys that all clients write, each with a rule that holds at every moment:
//
//	bank:*     accounts; transfers keep the total, and the client's receipt tells which were done
//	group:*    all set by one MSET: always one stamp
//	total*     a string, a hash and a sorted set, only counted up: acknowledged <= value <= sent
//	line:*     lists, only appended to: each client's words in order
//	queue:*    elements are moved from list to list, and taken by consumers: each once
//	wander:*   sets: a member is in one of them
//
// A claim is one unit's part in that. What was acknowledged is settled; what was in flight at the
// crash is judged by the fate of its unit.

package main

import (
	"fmt"
	"math/rand"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	accounts     = 16
	deposit      = 1000
	groupKeys    = 6
	lines        = 4
	queues       = 4
	wanderSets   = 4
	wanderers    = 100
	longestLine  = 2000
	longestQueue = 2000
)

type claim struct {
	kind     string // transfer, stamp, count, line, push, pop
	from, to int
	amount   int64
	name     string
	words    []string
	unit     *unit
	client   int
}

type stamp struct {
	sent, heard int64 // nanoseconds of the world's clock; heard is 0 if never
}

type shared struct {
	mutex    sync.Mutex
	balances [accounts]int64
	least    map[string]int64 // of totals: what was acknowledged
	most     map[string]int64 // ... and what was sent
	stamps   map[string]*stamp
	lines    [lines]map[int][]string // by client: what was acknowledged
	inLine   map[string]bool         // sent, not settled
	queued   map[string]bool         // sent to a queue; true: acknowledged
	taken    map[string]bool         // by an acknowledged pop
	poppers  int64                   // pops in flight
}

func newShared() *shared {
	s := &shared{least: map[string]int64{}, most: map[string]int64{}, stamps: map[string]*stamp{},
		inLine: map[string]bool{}, queued: map[string]bool{}, taken: map[string]bool{}}
	for i := range s.lines {
		s.lines[i] = map[int][]string{}
	}
	for i := range s.balances {
		s.balances[i] = deposit
	}
	return s
}

// prepare makes what all begin with.
func (s *shared) prepare(c *conn) error {
	var commands [][]string
	for i := 0; i < accounts; i++ {
		commands = append(commands, words("SET", account(i), strconv.Itoa(deposit)))
	}
	for i := 0; i < wanderers; i++ {
		commands = append(commands, words("SADD", fmt.Sprintf("wander:%d", i%wanderSets),
			strconv.Itoa(i)))
	}
	replies, err := askAll(c, commands)
	for _, r := range replies {
		if r.kind == '-' {
			return fmt.Errorf("%s", r.text)
		}
	}
	return err
}

func account(i int) string {
	return fmt.Sprintf("bank:%d", i)
}

// ---- units

// plainPiece changes nothing that a client keeps in its model.
func plainPiece(words ...string) *piece {
	return &piece{words: words, apply: func(m *model, t *turn) string {
		if t.reply != nil && t.reply.kind == '-' {
			return "answered -" + t.reply.text
		}
		return ""
	}}
}

func (c *client) sharedUnit(a *author) *unit {
	u := &unit{way: "plain"}
	one := func(p *piece, cl claim) *unit {
		cl.unit, cl.client = u, c.number
		u.pieces, u.claims = append(u.pieces, p), append(u.claims, cl)
		return u
	}
	switch c.dice.Intn(10) {
	case 0, 1:
		return c.transferUnit(a, u)
	case 2:
		text := fmt.Sprintf("%d.%d", c.number, a.made)
		a.made++
		set := []string{"MSET"}
		for i := 0; i < groupKeys; i++ {
			set = append(set, fmt.Sprintf("group:%d", i), text)
		}
		return one(plainPiece(set...), claim{kind: "stamp", name: text})
	case 3:
		name := []string{"total", "totals/field", "ranks/member"}[c.dice.Intn(3)]
		count := map[string][]string{"total": {"INCRBY", "total", "1"},
			"totals/field": {"HINCRBY", "totals", "field", "1"},
			"ranks/member": {"ZINCRBY", "ranks", "1", "member"}}[name]
		return one(plainPiece(count...), claim{kind: "count", name: name})
	case 4, 5:
		at := c.dice.Intn(lines)
		word := fmt.Sprintf("%d.%d", c.number, a.made)
		a.made++
		return one(plainPiece("RPUSH", fmt.Sprintf("line:%d", at), word),
			claim{kind: "line", from: at, words: []string{word}})
	case 6, 7:
		word := fmt.Sprintf("%d.%d", c.number, a.made)
		a.made++
		return one(plainPiece("RPUSH", queue(c.dice.Intn(queues)), word),
			claim{kind: "push", words: []string{word}})
	}
	return c.wanderUnit(u)
}

func queue(i int) string {
	return fmt.Sprintf("queue:%d", i)
}

func (c *client) transferUnit(a *author, u *unit) *unit {
	u.way = c.pickWay()
	if u.way == "plain" {
		u.pieces = []*piece{a.piece()}
		return u
	}
	pair := c.dice.Perm(accounts)[:2]
	amount := int64(1 + c.dice.Intn(50))
	text := strconv.FormatInt(amount, 10)
	receipt, word := c.prefix+"receipt", a.word()
	u.pieces = []*piece{plainPiece("DECRBY", account(pair[0]), text),
		a.update("string", receipt, words("SET", receipt, word), func(v *value, t *turn) string {
			v.text = word
			return "+OK"
		}), plainPiece("INCRBY", account(pair[1]), text)}
	u.claims = []claim{{kind: "transfer", from: pair[0], to: pair[1], amount: amount, unit: u,
		client: c.number}}
	return u
}

func (c *client) wanderUnit(u *unit) *unit {
	from, to := c.dice.Intn(wanderSets), c.dice.Intn(wanderSets)
	source, target := fmt.Sprintf("wander:%d", from), fmt.Sprintf("wander:%d", to)
	if c.has("scripts") && c.dice.Intn(2) == 0 {
		const script = "local m = redis.call('SPOP', KEYS[1])\n" +
			"if m then redis.call('SADD', KEYS[2], m) end return 1"
		u.pieces = []*piece{plainPiece("EVAL", script, "2", source, target)}
	} else {
		u.pieces = []*piece{plainPiece("SMOVE", source, target, strconv.Itoa(c.dice.Intn(wanderers)))}
	}
	return u
}

// ---- what is sent, and what is acknowledged

// note tells of units before they are sent.
func (s *shared) note(units []*unit) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, u := range units {
		for _, c := range u.claims {
			switch c.kind {
			case "stamp":
				s.stamps[c.name] = &stamp{sent: time.Now().UnixNano()}
			case "count":
				s.most[c.name]++
			case "line":
				s.inLine[c.words[0]] = true
			case "push":
				s.queued[c.words[0]] = false
			}
		}
	}
}

func (s *shared) settle(u *unit, replies []reply) {
	if len(u.claims) == 0 {
		return
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, c := range u.claims {
		switch c.kind {
		case "transfer":
			s.balances[c.from] -= c.amount
			s.balances[c.to] += c.amount
		case "stamp":
			s.stamps[c.name].heard = time.Now().UnixNano()
		case "count":
			s.least[c.name]++
		case "line":
			delete(s.inLine, c.words[0])
			s.lines[c.from][c.client] = append(s.lines[c.from][c.client], c.words[0])
		case "push":
			s.queued[c.words[0]] = true
		}
	}
}

// ---- consumers and movers

// consume takes elements from the queues, in every way, until the server dies.
func (w *world) consume(c *conn, dice *rand.Rand) {
	var names []string
	for i := 0; i < queues; i++ {
		names = append(names, queue(i))
	}
	for !w.isKilled() {
		from, to := queue(dice.Intn(queues)), queue(dice.Intn(queues))
		var command []string
		isPop := true
		switch dice.Intn(7) {
		case 0, 1:
			command = append(append([]string{"BLPOP"}, names...), "0.02")
		case 2:
			command = append(append([]string{"BLMPOP", "0.02", strconv.Itoa(queues)}, names...), "LEFT",
				"COUNT", "1")
		case 3:
			command = words("LPOP", from)
		case 4:
			command, isPop = words("LMOVE", from, to, "RIGHT", "LEFT"), false
		case 5:
			command, isPop = words("BLMOVE", from, to, "LEFT", "RIGHT", "0.02"), false
		default:
			command, isPop = words("RPOPLPUSH", from, to), false
		}
		if isPop {
			w.shared.popping(1)
		}
		r, err := ask(c, command...)
		if err != nil {
			if !w.isKilled() && !w.isEnding() {
				w.violation("a consumer: %v", err)
			}
			return
		}
		w.count(1)
		if isPop {
			w.shared.popped(w, r)
		}
	}
}

func (s *shared) popping(n int64) {
	s.mutex.Lock()
	s.poppers += n
	s.mutex.Unlock()
}

func (s *shared) popped(w *world, r reply) {
	for r.items != nil && len(r.items) != 0 {
		r = r.items[len(r.items)-1] // BLPOP: the element is last; BLMPOP: in a list
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.poppers--
	if r.isNil || r.kind != '$' {
		return
	}
	if _, isThere := s.queued[r.text]; !isThere {
		w.violation("a consumer got %q, which nobody sent", r.text)
	}
	if s.taken[r.text] {
		w.violation("a consumer got %q again", r.text)
	}
	s.taken[r.text] = true
}

// ---- after the crash

// check compares with what the server has; `lost` are the units that were in flight, with their fates.
func (s *shared) check(w *world, l *look, lost []*unit, fates []certainty) {
	s.checkBank(w, l, lost, fates)
	s.checkGroup(w, l)
	s.checkTotals(w, l)
	s.checkQueues(w, l)
	for at := range s.lines {
		s.checkLine(w, at, l)
	}
	s.inLine = map[string]bool{}
	l.checkWanderers(w)
}

// number of a string in database 0.
func (l *look) number(key string) int64 {
	v := l.values["0/"+key]
	if v == nil {
		return 0
	}
	n, _ := strconv.ParseInt(v.text, 10, 64)
	return n
}

func (l *look) checkTotal(w *world) {
	var sum int64
	for i := 0; i < accounts; i++ {
		sum += l.number(account(i))
	}
	if sum != accounts*deposit {
		w.violation("the bank has %d in all, not %d", sum, accounts*deposit)
	}
}

func (s *shared) checkBank(w *world, l *look, lost []*unit, fates []certainty) {
	l.checkTotal(w)
	expected := s.balances
	var doubtful []string
	for i, u := range lost {
		for _, c := range u.claims {
			if c.kind != "transfer" || fates[i] == no {
				continue
			}
			if fates[i] == maybe {
				doubtful = append(doubtful, u.String())
				continue
			}
			expected[c.from] -= c.amount
			expected[c.to] += c.amount
		}
	}
	for i := range expected {
		got := l.number(account(i))
		if got != expected[i] && len(doubtful) == 0 {
			w.violation("%s has %d; the transfers say %d; unanswered: %s", account(i), got, expected[i],
				transfers(lost, fates, i))
		}
		s.balances[i] = got
	}
}

func transfers(lost []*unit, fates []certainty, account int) string {
	var texts []string
	for i, u := range lost {
		for _, c := range u.claims {
			if c.kind == "transfer" && (c.from == account || c.to == account) {
				texts = append(texts, fmt.Sprintf("%s (%s)", u, map[certainty]string{no: "not done",
					yes: "done", maybe: "perhaps"}[fates[i]]))
			}
		}
	}
	return strings.Join(texts, ", ")
}

func (l *look) oneStamp(w *world) string {
	text := ""
	for i := 0; i < groupKeys; i++ {
		got := ""
		if v := l.values[fmt.Sprintf("0/group:%d", i)]; v != nil {
			got = v.text
		}
		if i > 0 && got != text {
			w.violation("torn: group:0 has stamp %q, group:%d %q", text, i, got)
		}
		text = got
	}
	return text
}

func (s *shared) checkGroup(w *world, l *look) {
	text := l.oneStamp(w)
	found := s.stamps[text]
	if text != "" && found == nil {
		w.violation("group:0 has stamp %q, which nobody sent", text)
	}
	for name, other := range s.stamps {
		isLater := found == nil || found.heard != 0 && other.sent > found.heard
		if other.heard != 0 && isLater {
			w.violation("group:0 has stamp %q, but %q was acknowledged after that was", text, name)
			break
		}
	}
	s.stamps = map[string]*stamp{}
	if text != "" {
		s.stamps[text] = &stamp{heard: 1}
	}
}

func (s *shared) checkTotals(w *world, l *look) {
	for _, name := range []string{"total", "totals/field", "ranks/member"} {
		got := l.number(name)
		if at := strings.Index(name, "/"); at >= 0 {
			if v := l.values["0/"+name[:at]]; v != nil {
				got, _ = strconv.ParseInt(v.fields[name[at+1:]], 10, 64)
			}
		}
		if got < s.least[name] || got > s.most[name] {
			w.violation("%s is %d; %d were acknowledged, %d sent", name, got, s.least[name],
				s.most[name])
		}
		s.least[name], s.most[name] = got, got
	}
}

// checkLine: what each client was told is there stands in its order, once.
func (s *shared) checkLine(w *world, at int, l *look) {
	key := fmt.Sprintf("line:%d", at)
	seen := map[int][]string{}
	if v := l.values["0/"+key]; v != nil {
		for _, word := range v.items {
			number, _ := strconv.Atoi(strings.Split(word, ".")[0])
			seen[number] = append(seen[number], word)
		}
	}
	for number := 0; number < w.clients; number++ {
		told, got := s.lines[at][number], seen[number]
		for i, word := range told {
			if i >= len(got) || got[i] != word {
				w.violation("%s: word %d of client %d is %q, not %q: %v", key, i, number,
					append(got, "missing")[min(i, len(got))], word, got[max(0, min(i, len(got))-3):])
				break
			}
		}
		for _, word := range got[min(len(told), len(got)):] {
			if !s.inLine[word] {
				w.violation("%s has %q of client %d, which is not in flight", key, word, number)
			}
			delete(s.inLine, word)
		}
		s.lines[at][number] = got
	}
}

func max(a, b int) int {
	return a + b - min(a, b)
}

func (s *shared) checkQueues(w *world, l *look) {
	where := map[string]string{}
	for i := 0; i < queues; i++ {
		v := l.values["0/"+queue(i)]
		if v == nil {
			continue
		}
		for _, word := range v.items {
			_, isKnown := s.queued[word]
			switch {
			case where[word] != "":
				w.violation("%q is in %s and in %s", word, where[word], queue(i))
			case s.taken[word]:
				w.violation("%q is in %s, but a consumer has it", word, queue(i))
			case !isKnown:
				w.violation("%q is in %s, and nobody sent it", word, queue(i))
			}
			where[word] = queue(i)
		}
	}
	var missing []string
	for word, isSure := range s.queued {
		if isSure && !s.taken[word] && where[word] == "" {
			missing = append(missing, word)
		}
	}
	if int64(len(missing)) > s.poppers {
		w.violation("%d elements are in no queue (%d pops were in flight): %v", len(missing), s.poppers,
			missing)
	}
	s.queued, s.taken, s.poppers = map[string]bool{}, map[string]bool{}, 0
	for word := range where {
		s.queued[word] = true
	}
}

func (l *look) checkWanderers(w *world) {
	where := map[string]string{}
	for i := 0; i < wanderSets; i++ {
		key := fmt.Sprintf("0/wander:%d", i)
		if l.values[key] == nil {
			continue
		}
		for member := range l.values[key].fields {
			if where[member] != "" {
				w.violation("member %s is in %s and in %s", member, where[member], key)
			}
			where[member] = key
		}
	}
	for i := 0; i < wanderers; i++ {
		if where[strconv.Itoa(i)] == "" {
			w.violation("member %d is in none of the sets wander:*", i)
		}
	}
	if len(where) != wanderers {
		w.violation("%d members in the sets wander:*, not %d", len(where), wanderers)
	}
}

// shorten keeps lists from growing over the rounds; nothing else runs meanwhile.
func (s *shared) shorten(c *conn, l *look) error {
	for i := range s.lines {
		if v := l.values[fmt.Sprintf("0/line:%d", i)]; v != nil && len(v.items) > longestLine {
			if _, err := ask(c, "DEL", fmt.Sprintf("line:%d", i)); err != nil {
				return err
			}
			s.lines[i] = map[int][]string{}
		}
		v := l.values["0/"+queue(i)]
		if v != nil && len(v.items) > longestQueue {
			if _, err := ask(c, "DEL", queue(i)); err != nil {
				return err
			}
			for _, word := range v.items {
				delete(s.queued, word)
			}
		}
	}
	return nil
}
