/** What the instructions are about: a name that fits after "about", and words an on-topic answer uses. */
export interface Topic {
  name: string;
  /** English, French and Spanish words of the topic. */
  about: string[];
  /** Two words that an answer may be told to use. */
  include: [string, string];
  /** Three words that come naturally in this order. */
  order: [string, string, string];
  /** A word that an answer is tempted to use. */
  avoid: string;
}

const table = `
tea | tea brew kettle thé té | warm cup | kettle leaves cup | drink
bicycles | bicycle bike ride pedal wheel vélo bicicleta | wheels ride | push pedal stop | road
rain | rain umbrella wet drop pluie lluvia | roof drops | clouds rain rainbow | water
cats | cat kitten purr whiskers chat gato | soft sleep | stretch nap play | pet
bread | bread loaf bake crust pain pan | fresh butter | flour dough loaf | food
sleep | sleep dream bed rest sommeil dormir sueño | night rest | yawn sleep wake | tired
libraries | library book read bibliothèque biblioteca | quiet books | enter browse borrow | read
the moon | moon lune luna night crescent | night light | dusk moon dawn | sky
coffee | coffee bean espresso café cafe | morning cup | beans water cup | drink
dogs | dog puppy bark tail chien perro | loyal walk | leash walk home | pet
gardens | garden plant flower soil jardin jardín | flowers green | dig plant water | plants
snow | snow flake winter neige nieve | white cold | cloud snow puddle | winter
trains | train rail station track tren | window station | ticket platform train | fast
soup | soup broth bowl soupe sopa | hot bowl | chop boil serve | eat
the sea | sea ocean wave beach mer mar | blue waves | sand waves horizon | water
apples | apple orchard pomme manzana fruit | red sweet | seed tree apple | fruit
music | music song melody listen musique música | song happy | listen hum dance | sound
birds | bird wing feather nest oiseau pájaro ave | sing wings | egg nest wings | fly
chess | chess board king pawn queen échecs ajedrez | king board | pawn knight king | game
mountains | mountain peak summit climb montagne montaña | high view | valley slope summit | tall
shoes | shoe lace sole boot chaussure zapato | feet walk | sock shoe lace | wear
rivers | river stream flow bank rivière río | water flow | spring river sea | water
breakfast | breakfast egg toast cereal morning déjeuner desayuno | eggs toast | wake cook eat | meal
bees | bee hive honey pollen abeille abeja | honey flower | flower hive honey | insects
winter | winter cold snow coat hiver invierno | cold coat | autumn winter spring | snow
letters | letter envelope stamp write mail lettre carta | paper stamp | paper envelope stamp | write
football | football ball goal team football fútbol | team goal | pass shoot goal | game
clocks | clock time hour tick minute horloge reloj | time hands | second minute hour | time
kites | kite wind string fly cerf-volant cometa | wind string | run lift soar | sky
candles | candle flame wax wick bougie vela | flame soft | match wick flame | light
trees | tree leaf leaves branch root forest arbre árbol | shade leaves | root trunk branch | green
pancakes | pancake batter syrup stack crêpe panqueque tortita | sweet syrup | mix pour flip | eat
swimming | swim pool water float stroke nager natation nadar natación | pool water | breathe kick float | water
horses | horse gallop mane saddle cheval caballo | strong fast | walk trot gallop | animals
painting | paint brush canvas colour color peinture peindre pintura pintar | brush colours | sketch paint frame | art
the sun | sun sunlight sunshine sunrise sunset soleil sol | warm bright | sunrise noon sunset | hot
pizza | pizza cheese crust slice tomato | cheese slice | dough sauce cheese | food
buses | bus stop seat driver passenger autobus autobús | stop seat | wait board ride | travel
friendship | friend friendship amitié ami amigo amistad | trust laugh | meet talk trust | friends
stars | star sky constellation étoile estrella | dark sky | dusk stars dawn | shine
camping | camp tent fire camping campamento acampar | tent fire | pack hike camp | nature
chocolate | chocolate cocoa sweet bar cacao | dark sweet | melt stir pour | candy
walking | walk step path foot marcher marche caminar | path fresh | coat door path | exercise
cows | cow milk farm grass calf vache vaca | grass milk | grass cow milk | animals
umbrellas | umbrella rain parapluie paraguas | rain dry | cloud rain umbrella | wet
books | book page story read livre libro | page story | open read close | read
windows | window glass pane view fenêtre ventana | glass view | open look close | see
homework | homework school study lesson devoirs tarea deberes | desk pencil | read write check | school
spring | spring flower bloom printemps primavera | flowers warm | winter spring summer | season
bridges | bridge cross river span pont puente | river cross | step cross arrive | road
honey | honey bee sweet jar miel | sweet golden | bee hive jar | sugar
markets | market stall buy sell shop marché mercado | fruit stalls | walk choose pay | buy
elephants | elephant trunk tusk herd éléphant elefante | trunk big | calf herd river | large
photographs | photograph photo picture camera photographie foto fotografía | camera smile | aim focus click | memories
potatoes | potato fry mash pomme patate papa patata | salt butter | wash peel boil | vegetable
teachers | teacher class school lesson teach professeur maître profesor maestro | kind class | explain ask learn | school
holidays | holiday vacation travel trip vacances vacaciones | beach rest | pack travel relax | fun
dancing | dance step rhythm danse danser baile bailar | music feet | listen step turn | music
= held out
boats | boat sail ship row bateau barco | water sail | dock sail return | water
cheese | cheese milk fromage queso | milk soft | milk curd cheese | food
autumn | autumn fall leaf leaves automne otoño | leaves red | summer autumn winter | leaves
frogs | frog pond croak tadpole hop grenouille rana | pond green | egg tadpole frog | green
baking | bake oven cake dough cuisiner gâteau hornear horno | oven warm | mix bake cool | food
the wind | wind breeze blow gust vent viento | trees cold | calm breeze storm | air
grandparents | grandparent grandmother grandfather grandma grandpa abuelos abuela abuelo | story kind | visit talk hug | old
cars | car drive engine wheel road voiture coche carro | road fast | start drive park | drive
butterflies | butterfly wing caterpillar papillon mariposa | wings garden | egg caterpillar butterfly | insects
oranges | orange juice peel fruit naranja | juice sweet | peel split eat | fruit
school | school class teacher learn student école escuela | friends learn | bus class lunch | learn
gloves | glove hand finger warm gant guante | hands warm | coat hat gloves | cold
lakes | lake water shore lac lago | calm shore | shore boat island | water
running | run race shoe jog mile courir course correr carrera | shoes breath | walk jog sprint | exercise
movies | movie film cinema screen watch cine película | screen popcorn | ticket seat screen | watch
clouds | cloud sky rain nuage nube | white sky | sun cloud rain | sky
rabbits | rabbit bunny hop carrot ear lapin conejo | ears soft | hop eat hide | animals
cooking | cook kitchen recipe meal cuisine cuisiner cocina cocinar | pan salt | chop fry serve | food
pencils | pencil write draw lead eraser crayon lápiz | paper write | sharpen write erase | write
tigers | tiger stripe cat jungle tigre | stripes strong | hide wait jump | animals
beaches | beach sand sea wave shore plage playa | sand sun | towel swim rest | sand
guitars | guitar string chord play guitare guitarra | strings song | tune strum sing | music
salads | salad lettuce leaf tomato salade ensalada | fresh green | wash chop toss | healthy
`;

const rows = table.split("= held out").map((half) =>
  half
    .trim()
    .split("\n")
    .map((line) => {
      const [name = "", ...cells] = line.split("|").map((cell) => cell.trim());
      const [about = [], include = [], order = [], avoid = []] = cells.map((cell) => cell.split(" "));
      return { name, about, include, order, avoid: avoid[0] } as Topic;
    }),
);

export const topics = { train: rows[0] ?? [], heldOut: rows[1] ?? [] };
