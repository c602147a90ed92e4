# Written by `lyceum course`, and written anew by it: changes are lost.
#
# Tells nbgrader, each time when it starts, in which courses of this machine its user is, and as what. Asks nobody but
# the machine's groups and the records of courses beside it, so that it holds in servers, terminals and scripts alike.

import grp
import json
import os
import pwd

from nbgrader.auth import BaseAuthPlugin
from nbgrader.exchange import default as exchange

c = get_config()  # noqa: F821

SETTINGS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ME = pwd.getpwuid(os.getuid()).pw_name
MINE = set(os.getgroups()) | {os.getgid()}


def group(name):
    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def is_mine(name):
    found = group(name)
    return found is not None and found.gr_gid in MINE


def read_courses():
    courses = {}
    for name in sorted(os.listdir(SETTINGS)):
        if name.endswith(".json"):
            try:
                with open(os.path.join(SETTINGS, name), encoding="utf-8") as file:
                    course = json.load(file)
            except (OSError, ValueError):
                continue
            if not course.get("archived"):
                courses[course["name"]] = course
    return courses


COURSES = read_courses()
TAUGHT = [name for name in COURSES if is_mine("teach-" + name)]
VISITED = [name for name in COURSES if is_mine("course-" + name) or name in TAUGHT]


def chosen():
    """The course that is meant if none is named: that of the folder, that of the variable, else the only or first one."""
    here = os.path.realpath(os.getcwd())
    for name in TAUGHT:
        root = os.path.realpath(COURSES[name]["root"])
        if here == root or here.startswith(root + os.sep):
            return name
    wanted = os.environ.get("LYCEUM_COURSE")
    if wanted in VISITED:
        return wanted
    if TAUGHT:
        return TAUGHT[0]
    return VISITED[0] if len(VISITED) == 1 else None


def place(course):
    """The folder of a course: by the link in the home, where there is one, as the file browser can go only there."""
    link = os.path.join(os.path.expanduser("~"), "course-" + course["name"])
    try:
        if os.readlink(link) == course["root"]:
            return link
    except OSError:
        pass
    return course["root"]


class ByGroups(BaseAuthPlugin):
    """Who is in a course, by the groups of this machine."""

    def get_student_courses(self, student_id):
        if student_id in ("*", ME):
            return list(VISITED)
        found = {name: group("course-" + name) for name in COURSES}
        return [name for name, one in found.items() if one is not None and student_id in one.gr_mem]

    def add_student_to_course(self, student_id, course_id):
        self.log.info("An administrator enrolls %s with: lyceum course enroll %s %s", student_id, course_id, student_id)

    def remove_student_from_course(self, student_id, course_id):
        self.log.info("An administrator takes %s out with: lyceum course drop %s %s", student_id, course_id, student_id)


class AsStudent:
    """What is a student's own stays so, also where the student teaches another course."""

    def start(self):
        self.coursedir.groupshared = False
        course = COURSES.get(self.coursedir.course_id)
        if course is not None:
            self.timezone = course["timezone"]
        super().start()

    def ensure_root(self):
        # Students write to the courses' own folders; nobody but root writes beside these.
        pass


class Fetch(AsStudent, exchange.ExchangeFetchAssignment):
    def copy_files(self):
        super().copy_files()
        # It was copied with the rights that teachers have in the exchange.
        for folder, _, files in os.walk(self.dest_path):
            for path in [folder] + [os.path.join(folder, name) for name in files]:
                if not os.path.islink(path):
                    os.chmod(path, os.stat(path).st_mode & 0o5755)


class FetchFeedback(AsStudent, exchange.ExchangeFetchFeedback):
    pass


class Submit(AsStudent, exchange.ExchangeSubmit):
    def copy_files(self):
        super().copy_files()
        # Its group are the teachers, by the folder that it is in. For others its name should be secret enough; now it
        # need not be.
        os.chmod(os.path.join(self.inbound_path, self.assignment_filename), 0o770)


STUBS = {
    "en": ("YOUR CODE HERE", "YOUR ANSWER HERE"),
    "cs": ("ZDE NAPIŠTE SVŮJ KÓD", "ZDE NAPIŠTE SVOU ODPOVĚĎ"),
    "de": ("HIER STEHT IHR CODE", "HIER STEHT IHRE ANTWORT"),
}


def stubs(language):
    code, text = STUBS.get(language, STUBS["en"])
    return text, {
        "python": "# " + code + "\nraise NotImplementedError()",
        "R": "# " + code + '\nstop("not implemented")',
        "julia": "# " + code + '\nerror("not implemented")',
        "matlab": "% " + code + "\nerror('not implemented')",
        "octave": "% " + code + "\nerror('not implemented')",
        "sas": "/* " + code + " */\n %notImplemented;",
        "java": "// " + code,
    }


c.Authenticator.plugin_class = ByGroups
c.ExchangeFactory.fetch_assignment = Fetch
c.ExchangeFactory.fetch_feedback = FetchFeedback
c.ExchangeFactory.submit = Submit
# Assignments of two courses may have the same name.
c.Exchange.path_includes_course = True
# Several teachers work in one folder. What belongs to students is not touched by it; see AsStudent.
c.CourseDirectory.groupshared = True

for course in COURSES.values():
    c.Exchange.root = course["exchange"]

COURSE = COURSES.get(chosen())
if COURSE is not None:
    c.CourseDirectory.course_id = COURSE["name"]
    c.Exchange.timezone = COURSE["timezone"]
    c.ExecutePreprocessor.timeout = COURSE["execution_timeout"]
    c.ClearSolutions.text_stub, c.ClearSolutions.code_stub = stubs(COURSE["language"])
    if COURSE["name"] in TAUGHT:
        c.CourseDirectory.root = place(COURSE)
