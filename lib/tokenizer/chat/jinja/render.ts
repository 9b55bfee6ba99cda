// Renders Jinja chat templates, which are untrusted, with limits on time, steps and memory.
import { describe, excerpt, HeddleError } from "../../../core/errors.ts";
import type { Slices } from "../../../core/slices.ts";
import { limits } from "../../files/tokenizer-file.ts";
import { setGlobals } from "./globals.ts";
import { limitedInterpreter } from "./interpreter.ts";
import { jinja } from "./jinja.ts";
import { LimitError, RenderTime, renderLimits } from "./limits.ts";
import { templateValue } from "./template-values.ts";
import { withTestsAsFilters } from "./tests.ts";
import { TimeoutError } from "./watchdog.ts";

/** Thrown by raise_exception, with which a template refuses the messages. */
class TemplateRefusal extends Error {}

function range(start: number, stop?: number, step = 1): number[] {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (!(count <= renderLimits.range)) throw new LimitError(`a range of more than ${renderLimits.range} numbers`);
  return Array.from({ length: count }, (_, index) => from + index * step);
}

const months = "January February March April May June July August September October November December".split(" ");
const days = "Sunday Monday Tuesday Wednesday Thursday Friday Saturday".split(" ");

/** Returns the day of the local year, from 1. */
function dayOfYear(date: Date): number {
  // Count in UTC, because local days may have 23 or 25 hours.
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  return (Date.UTC(year, month, day) - Date.UTC(year, 0, 0)) / 86_400_000;
}

/** Maximum length of a format in UTF-16 units. */
const MAX_FORMAT = 1000;

/**
 * Formats the current time in English. It supports the directives Y y m d j B b A a H M S % of Python's strftime. Others
 * stay unchanged.
 */
function strftimeNow(format: string): string {
  if (!(format.length <= MAX_FORMAT)) throw new LimitError(`a format of more than ${MAX_FORMAT} characters`);
  const now = new Date();
  const two = (value: number) => String(value).padStart(2, "0");
  return format.replace(/%[YymdjBbAaHMS%]/gu, (directive) => {
    switch (directive[1]) {
      case "Y":
        return String(now.getFullYear());
      case "y":
        return two(now.getFullYear() % 100);
      case "m":
        return two(now.getMonth() + 1);
      case "d":
        return two(now.getDate());
      case "j":
        return String(dayOfYear(now)).padStart(3, "0");
      case "B":
        return months[now.getMonth()]!;
      case "b":
        return months[now.getMonth()]!.slice(0, 3);
      case "A":
        return days[now.getDay()]!;
      case "a":
        return days[now.getDay()]!.slice(0, 3);
      case "H":
        return two(now.getHours());
      case "M":
        return two(now.getMinutes());
      case "S":
        return two(now.getSeconds());
      case "%":
        return "%";
      default:
        return directive;
    }
  });
}

const constants = { true: true, false: false, none: null, True: true, False: false, None: null };

/** Parsed templates, the oldest first. */
const programs = new Map<string, unknown>();
const maxPrograms = 32;

function compile(template: string): unknown {
  const known = programs.get(template);
  if (known !== undefined) return known;
  const { parse, tokenize } = jinja();
  let program: unknown;
  try {
    // Jinja treats all line endings alike.
    const lines = template.replace(/\r\n?/gu, "\n");
    program = parse(withTestsAsFilters(tokenize(lines, { lstrip_blocks: true, trim_blocks: true })));
  } catch (cause) {
    // The parser throws a TypeError when it reads beyond the last token.
    if (cause instanceof TypeError) throw new SyntaxError("it ends within a tag or an expression", { cause });
    if (cause instanceof TimeoutError || cause instanceof RangeError) throw cause;
    throw new SyntaxError((cause as Error | undefined)?.message ?? String(cause), { cause });
  }
  if (programs.size >= maxPrograms) programs.delete(programs.keys().next().value!);
  programs.set(template, program);
  return program;
}

/**
 * Renders a chat template in slices.
 * @param mark the mark that ChatGuard inserts into the variables. The `length` filter does not count it
 * @param time the time limit that all renderings of a call share
 * @throws HeddleError INVALID_ARGUMENT if the template refuses the messages (raise_exception); INVALID_FILE if it is not a valid template
 * or exceeds a limit, which the message names
 */
export function* renderTemplate(
  template: string,
  variables: Record<string, unknown>,
  mark?: string,
  time = new RenderTime(),
): Slices<string> {
  if (template.length > limits.templateLength) {
    throw new HeddleError("INVALID_FILE", `chat template: expected at most ${limits.templateLength} characters`);
  }
  // Load the package before the time limit starts.
  const { Environment } = jinja();
  const Interpreter = limitedInterpreter();
  const render = function* (): Slices<string> {
    const program = compile(template);
    const environment = new Environment();
    const globals = {
      ...constants,
      range,
      strftime_now: strftimeNow,
      raise_exception: (message: unknown) => {
        throw new TemplateRefusal(typeof message === "string" ? excerpt(message) : "it does not accept the messages");
      },
      ...variables,
    };
    yield;
    for (const [name, value] of Object.entries(globals))
      if (value !== undefined) environment.setVariable(name, yield* templateValue(value));
    setGlobals(environment, globals);
    yield;
    return String((yield* new Interpreter(environment, mark).runInSlices(program)).value);
  };
  try {
    return yield* time.rendering(render);
  } catch (cause) {
    throw explained(cause, template);
  }
}

/** Converts the error of a failed rendering to a HeddleError. */
export function explained(cause: unknown, template: string): HeddleError {
  if (cause instanceof TemplateRefusal) {
    return new HeddleError("INVALID_ARGUMENT", `chat template: ${cause.message}`, { cause });
  }
  const error = cause as Error | undefined;
  const timedOut = cause instanceof TimeoutError;
  const tooDeep = cause instanceof RangeError && /call stack/iu.test(cause.message);
  const what = timedOut
    ? `took more than ${renderLimits.milliseconds} ms`
    : tooDeep
      ? "is nested too deep"
      : cause instanceof SyntaxError
        ? `expected a Jinja template, got ${describe(template)} (${excerpt(cause.message, 200)})`
        : excerpt(String(error?.message ?? cause));
  return new HeddleError("INVALID_FILE", `chat template: ${what}`, { cause });
}
