#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

#include "simulator/ptx/lexer.h"

namespace simulator {
namespace {

std::vector<std::string> split(const std::string& op) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (;;) {
    const size_t dot = op.find('.', begin);
    parts.push_back(op.substr(begin, dot - begin));
    if (dot == std::string::npos) return parts;
    begin = dot + 1;
  }
}

uint32_t bytes_of(const std::string& type) {  // ".b8" to 1
  return static_cast<uint32_t>(std::atoi(type.c_str() + 2)) / 8;
}

// Parses a declaration, from the token after its state space: `.align 4 .b8 name[16]` ("Variable Declarations").
Variable declaration(Lexer& lexer, const std::string& space) {
  Variable v;
  v.space = space;
  uint32_t element = 0;
  while (lexer.peek()[0] == '.') {
    const std::string token = lexer.next();
    if (token == ".align") v.align = static_cast<uint32_t>(std::stoul(lexer.next()));
    else if (token == ".ptr" || token == ".global") continue;
    else element = bytes_of(token);
  }
  if (element == 0) lexer.fail("expected a type in the declaration");
  v.name = lexer.next();
  v.bytes = element;
  v.align = std::max(v.align, element);
  while (lexer.take("[")) {
    if (lexer.take("]")) {
      v.bytes = 0;
      continue;
    }
    v.bytes *= static_cast<uint32_t>(std::stoul(lexer.next()));
    lexer.expect("]");
  }
  if (lexer.peek() == "=") lexer.fail("initialized variables are not modeled: " + v.name);
  return v;
}

class Parser {
 public:
  Parser(const Module& module, size_t at, Function& function) : module_(module), lexer_(module.text, at), f_(function) {
    lexer_.start_counting();
  }

  void entry() {
    if (lexer_.take("(")) {
      uint32_t at = 0;
      while (!lexer_.take(")")) {
        lexer_.expect(".param");
        Variable v = declaration(lexer_, "param");
        at = (at + v.align - 1) / v.align * v.align;
        v.offset = at;
        at += v.bytes;
        f_.parameters.push_back(v);
        lexer_.take(",");
      }
      f_.parameter_bytes = at;
    }
    while (lexer_.peek() != "{") {
      const std::string token = lexer_.next();
      if (token == ".maxntid") {
        f_.max_threads = 1;
        do f_.max_threads *= std::stoi(lexer_.next());
        while (lexer_.take(","));
      } else if (token == ".minnctapersm") {
        lexer_.next();
      } else {
        lexer_.fail("unknown directive " + token);
      }
    }
    body();
  }

 private:
  void body() {
    lexer_.expect("{");
    open();
    const size_t depth = scopes_.size();
    while (scopes_.size() >= depth) statement();
  }

  // The registers that a scope declares.
  struct Names {
    std::map<std::string, int> registers;                 // `p`
    std::map<std::string, std::pair<int, int>> numbered;  // `%r<8>`: first index and count
  };

  void open() {
    f_.scope_parents.push_back(scopes_.empty() ? -1 : scopes_.back());
    scopes_.push_back(static_cast<int>(names_.size()));
    names_.emplace_back();
  }

  void statement() {
    lexer_.peek();  // skips to the statement's first token
    const size_t at = lexer_.at();
    const int line = lexer_.line();
    if (lexer_.take("{")) return open();
    if (lexer_.take("}")) return scopes_.pop_back();
    if (lexer_.take(";")) return;
    std::string token = lexer_.next();
    if (token.empty()) lexer_.fail("expected }, got the end of the text");
    if (token == ".reg") return declare_registers();
    if (token == ".param") return declare_parameter();
    if (token == ".shared" || token == ".local") {
      f_.variables.push_back(declaration(lexer_, token.substr(1)));
      return lexer_.expect(";");
    }
    if (token == ".pragma" || token == ".loc") {
      while (!lexer_.take(";")) lexer_.next();
      return;
    }
    if (token[0] == '.') lexer_.fail("unknown directive " + token);
    if (lexer_.take(":")) {
      f_.labels[std::to_string(scopes_.back()) + ":" + token] = static_cast<int>(f_.code.size());
      return;
    }
    Statement s;
    s.line = line, s.at = at;
    if (token == "@") {
      s.guard_negated = lexer_.take("!");
      s.guard = find_register(lexer_.next());
      if (s.guard < 0) lexer_.fail("expected a declared register after @");
      token = lexer_.next();
    }
    s.op = split(token);
    if (s.op[0] == "call") return call(s);
    while (!lexer_.take(";")) {
      s.operands.push_back(operand());
      if (!lexer_.take(",") && lexer_.peek() != ";") lexer_.fail("expected a comma, got " + lexer_.peek());
    }
    // Parameters of functions are registers here (declare_parameter), so their loads and stores become moves.
    const auto is_parameter = [&](const Operand& o) {
      return o.kind == Operand::address && o.parts[0].kind == Operand::reg && o.offset == 0 &&
             parameters_.count(o.parts[0].reg_index);
    };
    if (s.op.size() == 3 && s.op[1] == "param" && s.operands.size() == 2)
      for (Operand& o : s.operands)
        if (is_parameter(o)) {
          o = Operand(o.parts[0]);
          s.op = {"mov", s.op[2]};
        }
    if (s.op[0] == "ret" && !returns_.empty()) {
      s.op = {"bra"};
      Operand end;
      end.name = returns_.back();
      end.scope = -2;  // a label that the parser made, which belongs to the whole entry
      s.operands = {end};
    }
    f_.code.push_back(std::move(s));
  }

  // Declares a `.param` variable of a body, as a register. Calls pass arguments and results in such variables.
  void declare_parameter() {
    const Variable v = declaration(lexer_, "param");
    if (v.bytes != 8 && v.bytes != 4)
      lexer_.fail("expected a parameter of 4 or 8 bytes, got " + std::to_string(v.bytes) + " bytes");
    const int index = static_cast<int>(f_.registers.size());
    f_.registers.push_back(v.bytes == 8 ? Width::b64 : Width::b32);
    parameters_.insert(index);
    names_[static_cast<size_t>(scopes_.back())].registers[v.name] = index;
    if (lexer_.peek() == ";") lexer_.next();
  }

  // Parses a list of parameters, and returns their registers.
  std::vector<int> arguments() {
    std::vector<int> registers;
    lexer_.expect("(");
    while (!lexer_.take(")")) {
      registers.push_back(find_register(lexer_.next()));
      if (registers.back() < 0) lexer_.fail("expected a parameter");
      lexer_.take(",");
    }
    return registers;
  }

  // "call (result), function, (arguments)": inlines the function. Its parameters name the registers that the caller
  // passes. `ret` becomes a branch to a label after the body.
  void call(const Statement& s) {
    if (s.guard >= 0) lexer_.fail("a call with a guard is not modeled");
    std::vector<int> given = arguments();
    lexer_.expect(",");
    const std::string name = lexer_.next();
    lexer_.expect(",");
    const std::vector<int> more = arguments();
    lexer_.expect(";");
    given.insert(given.end(), more.begin(), more.end());
    const auto found = module_.functions.find(name);
    if (found == module_.functions.end()) lexer_.fail("no function " + name);
    // The function's scope has no parent, so that the names of the caller are not visible in the function.
    const std::vector<int> outer = std::move(scopes_);
    scopes_.clear();
    open();
    const size_t back = lexer_.at();
    const std::string end = "end of call " + std::to_string(calls_++);
    returns_.push_back(end);
    lexer_.move_to(found->second);
    size_t n = 0;
    for (int list = 0; list < 2; ++list) {  // `(result) name (parameters)`
      if (list == 1) lexer_.next();         // the function's name
      lexer_.expect("(");
      while (!lexer_.take(")")) {
        lexer_.expect(".param");
        const Variable v = declaration(lexer_, "param");
        if (n >= given.size()) lexer_.fail("more parameters than arguments");
        names_[static_cast<size_t>(scopes_.back())].registers[v.name] = given[n++];
        lexer_.take(",");
      }
    }
    body();
    returns_.pop_back();
    f_.labels["-2:" + end] = static_cast<int>(f_.code.size());
    lexer_.move_to(back);
    scopes_ = outer;
  }

  void declare_registers() {
    const std::string type = lexer_.next();
    const Width width = type == ".pred" ? Width::predicate : bytes_of(type) == 8 ? Width::b64 : Width::b32;
    if (width != Width::predicate && bytes_of(type) > 8) lexer_.fail("registers of " + type + " are not modeled");
    do {
      const std::string name = lexer_.next();
      const int first = static_cast<int>(f_.registers.size());
      int count = 1;
      if (lexer_.take("<")) {
        count = std::stoi(lexer_.next());
        lexer_.expect(">");
        names_[static_cast<size_t>(scopes_.back())].numbered[name] = {first, count};
      } else {
        names_[static_cast<size_t>(scopes_.back())].registers[name] = first;
      }
      f_.registers.insert(f_.registers.end(), static_cast<size_t>(count), width);
    } while (lexer_.take(","));
    lexer_.expect(";");
  }

  // Returns the register's index, or -1. Inner scopes hide the names of outer ones.
  int find_register(const std::string& name) const {
    size_t digits = name.size();
    while (digits > 0 && std::isdigit(static_cast<unsigned char>(name[digits - 1]))) --digits;
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope) {
      const Names& names = names_[static_cast<size_t>(*scope)];
      const auto single = names.registers.find(name);
      if (single != names.registers.end()) return single->second;
      if (digits == name.size()) continue;
      const auto many = names.numbered.find(name.substr(0, digits));
      if (many == names.numbered.end()) continue;
      const int number = std::atoi(name.c_str() + digits);
      if (number < many->second.second) return many->second.first + number;
    }
    return -1;
  }

  // "Integer Constants" and "Floating-Point Constants".
  Operand number(const std::string& text, bool negative) {
    Operand o;
    o.kind = Operand::immediate;
    if (text.size() > 2 && text[0] == '0' && (text[1] == 'f' || text[1] == 'F' || text[1] == 'd' || text[1] == 'D')) {
      o.bits = std::stoull(text.substr(2), nullptr, 16);
      o.is_float = true;
      if (negative) lexer_.fail("expected no - before a float's bit pattern");
      return o;
    }
    o.bits = std::stoull(text, nullptr, 0);
    if (negative) o.bits = ~o.bits + 1;
    return o;
  }

  Operand operand() {
    Operand o;
    if (lexer_.take("[")) {
      o.kind = Operand::address;
      o.parts.push_back(operand());
      while (lexer_.take("+")) {
        const bool negative = lexer_.take("-");
        o.offset += static_cast<int64_t>(number(lexer_.next(), negative).bits);
      }
      while (lexer_.take(",")) o.parts.push_back(operand());
      lexer_.expect("]");
      return o;
    }
    if (lexer_.take("{")) {
      o.kind = Operand::vector;
      do o.parts.push_back(operand());
      while (lexer_.take(","));
      lexer_.expect("}");
      return o;
    }
    const bool negative = lexer_.take("-"), negated = lexer_.take("!");
    const std::string token = lexer_.next();
    if (std::isdigit(static_cast<unsigned char>(token[0]))) return number(token, negative);
    if (negative) lexer_.fail("expected a number after -, got " + token);
    if (token == "_") return o;
    o.reg_index = find_register(token);
    if (o.reg_index >= 0) {
      o.kind = Operand::reg;
      o.negated = negated;
      if (lexer_.take("|")) {
        o.pair = find_register(lexer_.next());
        if (o.pair < 0) lexer_.fail("expected a register after |");
      }
      return o;
    }
    o.name = token;
    o.scope = scopes_.back();
    o.kind = token[0] == '%' ? Operand::special : Operand::symbol;  // a label also gets the kind `symbol`
    return o;
  }

  const Module& module_;
  Lexer lexer_;
  Function& f_;
  std::set<int> parameters_;          // registers that declare_parameter made
  std::vector<std::string> returns_;  // for each open call, the label to which its `ret` branches
  int calls_ = 0;
  std::vector<Names> names_;  // by scope
  std::vector<int> scopes_;   // the open scopes, innermost last
};

}  // namespace

int Function::label(const Operand& operand) const {
  if (operand.scope == -2) return labels.at("-2:" + operand.name);
  for (int scope = operand.scope; scope >= 0; scope = scope_parents[static_cast<size_t>(scope)]) {
    const auto found = labels.find(std::to_string(scope) + ":" + operand.name);
    if (found != labels.end()) return found->second;
  }
  throw Failure(name + ": no label " + operand.name);
}

Module::Module(std::string source) : text(std::move(source)) {
  Lexer head(text, 0);
  for (;;) {
    const std::string token = head.next();
    if (token == ".version") {
      head.next();
    } else if (token == ".target") {
      target = head.next();
    } else if (token == ".address_size") {
      if (head.next() != "64") head.fail("expected addresses of 64 bits");
    } else if (token == ".extern" || token == ".visible" || token == ".weak") {
      continue;
    } else if (token == ".shared" || token == ".global" || token == ".const") {
      variables.push_back(declaration(head, token.substr(1)));
      if (token != ".shared") head.fail("module variables outside of .shared are not modeled");
      head.expect(";");
    } else if (token == ".entry") {
      const std::string name = head.next();
      entries[name] = head.at();
      size_t close = 0;
      int depth = 0;
      for (close = text.find('{', text.find(')', head.at())); close < text.size(); ++close) {
        if (text[close] == '{') ++depth;
        if (text[close] == '}' && --depth == 0) break;
      }
      head.move_to(close + 1);
    } else if (token == ".func") {
      // A declaration ends with a semicolon, a definition with a body.
      const size_t at = head.at();
      const size_t end = text.find(';', at), body = text.find('{', at);
      if (body == std::string::npos || end < body) {
        head.move_to(end + 1);
        continue;
      }
      head.expect("(");
      while (!head.take(")")) head.next();
      functions[head.next()] = at;
      int depth = 0;
      size_t close = body;
      for (; close < text.size(); ++close) {
        if (text[close] == '{') ++depth;
        if (text[close] == '}' && --depth == 0) break;
      }
      head.move_to(close + 1);
    } else if (token.empty()) {
      return;
    } else {
      head.fail("unknown directive " + token);
    }
  }
}

std::unique_ptr<Function> Module::parse(const std::string& entry) const {
  auto function = std::make_unique<Function>();
  function->name = entry;
  Parser(*this, entries.at(entry), *function).entry();
  return function;
}

}  // namespace simulator
